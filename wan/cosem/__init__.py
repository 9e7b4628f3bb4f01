"""RESTful COSEM web services: Anlage II of TR-03109-1 (``wan.md`` 3).

``xml`` reads documents of strangers, ``data`` holds the COSEM data types, ``documents`` the cor-1
structure, ``address`` the resource tree's URIs, ``classes`` the class table, ``service`` answers
requests.
"""
