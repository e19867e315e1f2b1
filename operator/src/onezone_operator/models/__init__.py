"""Data: the OneZone resource (and its CRD), and the frozen facts about a zone."""
