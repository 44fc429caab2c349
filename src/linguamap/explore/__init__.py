"""A local page to play with: type a prompt, see the answer and what every layer would write.

``reading`` does the work on a model as it is and tuned, ``explorer`` holds what the page works with,
``explorer_html`` makes safe HTML of a reading, ``explorer_page`` is the Gradio page around that.
"""
