"""What a user hands in, checked and brought to one form: samples, pictures, features."""

from extend.data.features import Features
from extend.data.files import read_images, read_pictures
from extend.data.images import Image
from extend.data.input_spec import InputSpec, describe
from extend.data.reader import read, unlabelled
from extend.data.samples import Samples, content_key

__all__ = [
    "Features",
    "Image",
    "InputSpec",
    "Samples",
    "content_key",
    "describe",
    "read",
    "read_images",
    "read_pictures",
    "unlabelled",
]
