"""From models, a GPU and a load to engine settings: `paceline plan`."""
