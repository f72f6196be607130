"""What a user hands in, checked and brought to one form: samples, pictures, features."""

from extend.data.features import Features
from extend.data.images import Image
from extend.data.input_spec import HOW_TO_SAY, Array, Batch, InputSpec, Tree, input_spec, spec_from_dict
from extend.data.labelled import Labelled
from extend.data.labels import class_names, refuse_similar, rows_in_words
from extend.data.pictures import pictures, read_images
from extend.data.reader import read, read_into, unlabelled
from extend.data.samples import Progress, Samples, content_key, shown
from extend.data.tables import is_table

__all__ = [
    "HOW_TO_SAY",
    "Array",
    "Batch",
    "Features",
    "Image",
    "InputSpec",
    "Labelled",
    "Progress",
    "Samples",
    "Tree",
    "class_names",
    "content_key",
    "input_spec",
    "is_table",
    "pictures",
    "read",
    "read_images",
    "read_into",
    "refuse_similar",
    "rows_in_words",
    "shown",
    "spec_from_dict",
    "unlabelled",
]
