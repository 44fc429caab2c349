"""A local page to play with: type a prompt, see the answer and what every layer would write.

``variants`` holds the model as it is and tuned, ``items`` what can be picked, ``reading`` does the
work, ``drawing`` makes safe HTML of it, ``page`` is the Gradio page around that.
"""
