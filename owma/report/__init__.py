"""Reports: one HTML file that holds everything that it shows."""
