"""The parties at the two ends of a CLS channel, and who decides between them.

``box`` is a Steuerbox as a machine, ``steuerbox`` the same on sockets; ``management`` is the active
EMT (CLS management); ``coordination`` decides when several want the same plant. What they say to
each other (``words``) is the lab's own: the gateway never looks inside.
"""
