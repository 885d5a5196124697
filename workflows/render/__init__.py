"""Draw tables, figures and pages from the records of cells, without torch."""
