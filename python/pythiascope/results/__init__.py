"""What a run leaves: sections, arrays with named axes, pages, trees of spans."""
