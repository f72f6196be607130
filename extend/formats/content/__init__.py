"""What a file or a folder is, told by its content: which format reads it, or what to do where none does."""

from extend.formats.content.identify import Content, identify, identify_folder

__all__ = ["Content", "identify", "identify_folder"]
