"""The experiments, in files of closely related ones; `saccade.lab.catalogue` lists them."""
