"""Data for training: mini-batches, splits, standardisation, sequences, text, files, data sets."""

from graphnn.data.batches import *
from graphnn.data.csv_format import *
from graphnn.data.datasets import *
from graphnn.data.idx_format import *
from graphnn.data.npz_format import *
from graphnn.data.prefetching import *
from graphnn.data.sequence_batches import *
from graphnn.data.sequences import *
from graphnn.data.series_datasets import *
from graphnn.data.splits import *
from graphnn.data.standardizer import *
from graphnn.data.text import *
from graphnn.data.text_files import *
from graphnn.data.ts_format import *
