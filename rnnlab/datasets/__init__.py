"""Public data sets: what they are, where their files are, and how to get them.

The catalog has the size and the SHA-256 of every file. The readers of the files are in
`rnnlab.tasks.readers`.
"""

from rnnlab.datasets.catalog import DATASETS as DATASETS
from rnnlab.datasets.data_set import DataFile as DataFile
from rnnlab.datasets.data_set import DataSet as DataSet
from rnnlab.datasets.folder import data_folder as data_folder
from rnnlab.datasets.folder import dataset_files as dataset_files
