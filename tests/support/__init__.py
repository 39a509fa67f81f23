"""Helpers shared by the test tiers. Nothing here is shipped, and nothing here stands in for a real server."""
