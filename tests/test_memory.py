"""The memory report: what it says is what the plan does."""

import json

import numpy as np
import pytest

import graphnn as gn
from graphnn.compiler.memory_size import as_nbytes, size_text


def training_step(budget=None, depth=4, **options):
    x = gn.input("x", shape=(64, 8))
    rng = np.random.default_rng(0)
    model = gn.nn.Sequential(
        *(part for _ in range(depth) for part in (gn.nn.Dense(8, 8, rng=rng), gn.nn.Tanh()))
    )
    loss = gn.mean(gn.square(model(x)))
    updates = gn.optim.SGD(0.1).minimize(loss, model.parameters())
    return gn.compile(x, loss, updates, memory_budget=budget, **options)


def test_sizes_are_those_of_the_plan():
    program = training_step()
    report = program.memory
    assert report.predicted_peak == report.arena_nbytes == program.arena_nbytes
    assert report.feed_nbytes == 64 * 8 * 4
    assert report.result_nbytes == 4
    assert report.parameter_nbytes == sum(p.tensor.nbytes for p in program.unit.states)
    assert [each.nbytes for each in report.buffers] == [b.nbytes for b in program.unit.buffers]
    assert report.budget is None
    assert report.recomputed == ()


def test_live_bytes_are_those_of_the_buffers():
    report = training_step().memory
    for time in range(-1, report.n_instructions + 1):
        alive = report.alive_at(time)
        overwritten = sum(
            each.nbytes for each in alive if each.first == time and each.in_place_of is not None
        )
        assert report.live_nbytes[time + 1] == sum(each.nbytes for each in alive) - overwritten
    assert report.peak_live == max(report.live_nbytes) <= report.arena_nbytes
    assert report.live_nbytes[report.peak_instruction + 1] == report.peak_live


def test_reuse_is_told():
    """Memory that a buffer takes over was another one's, and that one is not live any more."""
    report = training_step(optimize="O0").memory
    assert any(each.reuses for each in report.buffers)
    assert any(each.in_place_of is not None for each in report.buffers)
    for each in report.buffers:
        for number in each.reuses:
            before = report.buffers[number]
            assert before.offset < each.offset + each.nbytes
            assert each.offset < before.offset + before.nbytes
            assert before.last < each.first or number == each.in_place_of
        if each.in_place_of is not None:
            before = report.buffers[each.in_place_of]
            assert (before.offset, before.last) == (each.offset, each.first)


def test_a_chain_of_kernels_works_in_place():
    x = gn.input("x", shape=(1024,))
    report = gn.compile(x, gn.exp(gn.sin(gn.cos(x))), optimize="O0").memory
    assert report.arena_nbytes == 4096
    assert [each.in_place_of for each in report.buffers] == [None, 0, 1]
    assert report.live_nbytes == (0, *(4096,) * 4)


def test_buffers_know_their_nodes_and_lines():
    report = training_step().memory
    assert report.buffers[0].what == "matmul"
    assert (report.buffers[0].first, report.buffers[0].node.op.name) == (0, "dot_general")
    assert all("test_memory.py:" in each.where for each in report.buffers if each.node is not None)


def test_what_is_computed_again_is_marked():
    plain = training_step(depth=12)
    budget = plain.arena_nbytes // 2
    program = training_step(budget, depth=12)
    report = program.memory
    assert report.arena_nbytes <= report.budget == budget
    assert report.recomputed
    marked = {each.node for each in report.buffers if each.is_recomputed}
    assert marked <= set(report.recomputed)
    assert marked
    assert report.extra_flops == program.flops - plain.flops


def test_text_shows_the_peak():
    text = str(training_step("24 KiB", depth=12).memory)
    assert "of 24.0 KiB" in text
    assert "computed again" in text
    assert "peak at instruction" in text
    assert "matmul  # test_memory.py:" in text


def test_the_dictionary_is_ready_for_json():
    report = training_step().memory
    copy = json.loads(json.dumps(report.to_dict()))
    assert copy["arena_nbytes"] == report.arena_nbytes
    assert len(copy["buffers"]) == len(report.buffers)
    assert copy["buffers"][0]["what"] == "matmul"


def test_a_program_without_memory_has_a_report():
    x = gn.input("x", shape=(0,))
    assert "arena 0 B" in str(gn.compile(x, gn.exp(x)).memory)


def test_the_picture_has_a_box_for_every_buffer(tmp_path):
    pytest.importorskip("matplotlib")
    report = training_step("24 KiB", depth=12).memory
    path = tmp_path / "arena.svg"
    report.plot(path)
    content = path.read_text()
    assert "<svg" in content
    assert content.count("<path") >= len([each for each in report.buffers if each.nbytes])


@pytest.mark.parametrize(
    ("words", "nbytes"),
    [(4096, 4096), ("512", 512), ("64 MiB", 64 * 2**20), ("1.5kb", 1500), (" 2 GiB ", 2**31)],
)
def test_sizes_in_words(words, nbytes):
    assert as_nbytes("budget", words) == nbytes


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (98765, "96.5 KiB"), (2**40, "1.00 TiB")],
)
def test_sizes_are_written_with_a_unit(nbytes, text):
    assert size_text(nbytes) == text
