"""Charts: data in, a picture out, for the page, figures for papers and notebooks."""
