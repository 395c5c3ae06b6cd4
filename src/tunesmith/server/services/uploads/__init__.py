"""Files on their way. Read `tus.py` first: by offset, for files of any size over any line.

parts.py has the uploads of the OpenAI API: parts in any order, joined at the end. pending.py is
what both share: rows, their end by time, room on the disk and in the quota.
"""

from tunesmith.server.services.uploads.parts import PartUploads
from tunesmith.server.services.uploads.pending import NewUpload, Pending
from tunesmith.server.services.uploads.tus import Appending, Checksum, Piece, TusUploads
from tunesmith.server.tables import Upload

__all__ = [
    "Appending",
    "Checksum",
    "NewUpload",
    "PartUploads",
    "Pending",
    "Piece",
    "TusUploads",
    "Upload",
]
