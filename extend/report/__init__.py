"""What an action did to a classifier: the report, its picture, and sentences for people."""

from extend.report.report import Action, Report, ReportDict

__all__ = ["Action", "Report", "ReportDict"]
