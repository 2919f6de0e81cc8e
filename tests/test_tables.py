"""CSV, .ts and text files: against pandas and the csv module, and damaged ones."""

import csv
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphnn as gn
from graphnn.core.errors import ArgumentError, DTypeError

fuzz = settings(deadline=None, derandomize=True, database=None, max_examples=150)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """One for all examples of a test."""
    return tmp_path_factory.mktemp("tables") / "table.csv"


# ------------------------------------------------------------------------------------------- CSV

words = st.text(st.characters(codec="utf-8", exclude_characters="\r\0\ufeff"), max_size=6)


@fuzz
@given(
    rows=st.lists(st.tuples(words, words), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t"),
)
def test_any_text_comes_back(rows, delimiter, path):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL)
        writer.writerows([("first", "second"), *rows])
    dtypes = {"first": str, "second": str}
    table = gn.data.read_csv(path, dtypes=dtypes, delimiter=delimiter)
    assert list(zip(table["first"], table["second"], strict=True)) == rows


@fuzz
@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(width=32),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_numbers_come_back(rows, path):
    lines = [f"{i},{'' if x is None else repr(x)},{b}" for i, x, b in rows]
    path.write_text("\n".join(["i,x,b", *lines]))
    table = gn.data.read_csv(path, dtypes={"b": bool})
    assert (table["i"].dtype.name, table["b"].dtype.name) == ("int64", "bool")
    assert table["i"].tolist() == [i for i, _, _ in rows]
    assert table["b"].tolist() == [b for _, _, b in rows]
    if any(x is not None for _, x, _ in rows):
        expected = np.float32([np.nan if x is None else x for _, x, _ in rows])
        assert table["x"].dtype == np.float32
        np.testing.assert_array_equal(table["x"], expected)


TABLE = """\
maker,doors,"weight, in t",old
"Smith ""and""
Sons",4,1.5,True

Miller , 2 ,NA,false
Ångström,-4,2e-1,1
"""


def test_a_table_is_read_as_pandas_reads_it(path):
    pandas = pytest.importorskip("pandas")
    path.write_text(TABLE.replace("1\n", "True\n"), encoding="utf-8")
    expected = pandas.read_csv(path)
    table = gn.data.read_csv(path, dtypes={"old": "bool"})
    assert list(table) == list(expected.columns)
    assert list(table["maker"]) == list(expected["maker"])
    assert isinstance(table["maker"], tuple)
    for name, dtype in [("doors", "int64"), ("weight, in t", "float32"), ("old", "bool")]:
        assert table[name].dtype == dtype
        np.testing.assert_array_equal(table[name], expected[name].to_numpy(dtype))


def test_without_a_header_columns_are_numbered(path):
    path.write_text("1,2.5\n3,4\n")
    table = gn.data.read_csv(path, header=False)
    assert {name: column.tolist() for name, column in table.items()} == {
        "0": [1, 3],
        "1": [2.5, 4.0],
    }


def test_an_encoding_and_a_mark_of_the_byte_order(path):
    path.write_bytes("\ufeffa;b\n1;ü\n".encode())
    assert gn.data.read_csv(path, delimiter=";") == {"a": np.array([1]), "b": ("ü",)}
    path.write_bytes("a\nü\n".encode("latin-1"))
    assert gn.data.read_csv(path, encoding="latin-1") == {"a": ("ü",)}


@pytest.mark.parametrize(
    ("content", "options", "error", "words"),
    [
        ("", {}, ArgumentError, "there are no rows"),
        ("a,b\n", {}, ArgumentError, "there are no rows"),
        ("a,a\n1,2\n", {}, ArgumentError, "table.csv:1: two columns are named 'a'"),
        ("a,b\n1,2\n\n1\n", {}, ArgumentError, "table.csv:4: 1 fields, not 2"),
        ('a,b\n1,"2\n3,4\n', {}, ArgumentError, "table.csv:2: this row cannot be read: unexp"),
        ('a,b\n1,"2"3\n', {}, ArgumentError, "table.csv:2: .* ',' expected after"),
        ("a\n" + "x" * 200_000, {}, ArgumentError, "table.csv:2: .*larger than field limit"),
        (
            'a,b\n"1\n",2\n3,x\n',
            {"dtypes": {"b": "float64"}},
            ArgumentError,
            r"table.csv:4, column 2 \('b'\): 'x' is no float64",
        ),
        ("a\n1_0\n", {"dtypes": {"a": int}}, ArgumentError, "'1_0' is no int64"),
        ("a\n1_0\n", {"dtypes": {"a": "float32"}}, ArgumentError, "'1_0' is no float32"),
        ("a\n2\n", {"dtypes": {"a": bool}}, ArgumentError, "'2' is no bool"),
        ("a,b\n1,2\n,2\n", {"dtypes": {"a": int}}, ArgumentError, r":3, .* a int64 is missing"),
        (
            "a\n1\n300\n",
            {"dtypes": {"a": "uint8"}},
            ArgumentError,
            ":3, .*'300' does not fit uint8",
        ),
        ("a\n1e99\n", {}, ArgumentError, "'1e99' does not fit float32"),
        ("a\n99999999999999999999\n", {}, ArgumentError, "does not fit int64"),
        ("a\n1\n", {"dtypes": {"b": int}}, ArgumentError, "no column 'b'"),
        ("a\n1\n", {"dtypes": {"a": "complex64"}}, DTypeError, "cannot be complex64"),
        ("a\n1\n", {"delimiter": "::"}, ArgumentError, "delimiter"),
    ],
)
def test_what_is_no_such_table_is_refused(content, options, error, words, path):
    path.write_text(content)
    with pytest.raises(error, match=words):
        gn.data.read_csv(path, **options)


def test_a_file_that_is_missing_is_told_with_what_to_do(tmp_path):
    (tmp_path / "houses.csv").write_text("a\n1\n")
    for name, words in (
        ("house.csv", r"looked for in .*is it 'houses.csv'\?"),
        ("nothing.txt", "give the path from there, or a whole one"),
        ("missing/houses.csv", "nor a folder .*missing"),
    ):
        with pytest.raises(FileNotFoundError, match=words) as caught:
            gn.data.read_csv(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)


def test_a_file_of_other_bytes_is_refused_with_its_place(path):
    path.write_bytes("naïve\nab".encode() + b"\xff\n")
    with pytest.raises(ArgumentError, match=r"table.csv:2, column 3: the bytes ff are no utf-8"):
        gn.data.read_csv(path)
    with pytest.raises(ArgumentError, match="unknown encoding: utf-42"):
        gn.data.read_csv(path, encoding="utf-42")


@fuzz
@given(st.binary(max_size=40) | st.text('ab1.,"\n', max_size=40).map(str.encode))
def test_any_bytes_are_a_table_or_an_error(path, content):
    path.write_bytes(content)
    try:
        table = gn.data.read_csv(path)
    except ArgumentError:
        return
    assert len({len(column) for column in table.values()}) == 1
    expected = list(csv.reader(io.StringIO(content.decode().replace("\r\n", "\n"))))
    assert list(table) == next(row for row in expected if row)


# ------------------------------------------------------------------------------------------ text


def test_lines_and_characters(path):
    path.write_bytes("\ufeffone\r\ntwo\rthree\n\n".encode())
    assert gn.data.read_text(path) == "one\ntwo\nthree\n\n"
    assert gn.data.read_lines(path) == ["one", "two", "three", ""]
    path.write_bytes(b"no end")
    assert gn.data.read_lines(path) == ["no end"]
    path.write_bytes(b"")
    assert gn.data.read_lines(path) == []


# ----------------------------------------------------------------------------------------- .ts

TS = b"@dimensions 2\n@classLabel true a b\n@data\n1,2,3:4,5,6:a\n7:8:b\n"


@fuzz
@given(
    st.integers(0, len(TS) - 1),
    st.binary(max_size=2) | st.text(':,@1ae\n "', max_size=3).map(str.encode),
    st.integers(0, 3),
)
def test_a_damaged_ts_file_is_refused_or_read(path, position, inserted, left_out):
    path.write_bytes(TS[:position] + inserted + TS[position + left_out :])
    try:
        sequences, labels = gn.data.read_ts(path)
    except ArgumentError:
        return
    assert len(sequences) == len(labels)
    assert all(each.dtype == np.float32 for each in sequences)
    assert all(each.ndim == 2 for each in sequences)
