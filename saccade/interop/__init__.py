"""Our model folder and other toolkits': published models in, exported models out."""
