"""IPython and widgets. The only layer that imports IPython, ipywidgets or anywidget."""
