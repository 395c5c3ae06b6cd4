"""What goes over the wire: requests and answers of the API, shared by api, server and sdk.

Read `common.py` first: how lists, errors and times look everywhere. One file a noun.
"""
