"""The provider port: how Portico speaks to those who run the models.

One file per wire format. The internal language is OpenAI's chat-completions JSON; an adapter translates from and to
it. A provider knows plain data, the kernel's HTTP and its errors: no models, no settings, no Django.
"""
