"""The consumer's web pages (consumer manual E-4.4, figures 25 to 28; texts from field notes 7)."""

from han.web.pages import WebPages

__all__ = ["WebPages"]
