"""The web page: one module per tab. The only part of the package that imports gradio."""
