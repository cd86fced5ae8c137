"""Finding and loading models, and turning text and images into their inputs.

`loader.load` goes from a name to a `LoadedModel`: `locate` finds its files (`catalog`, `hub`),
`gguf` converts them if need be, `checkpoint_folder` checks them, `model_building` and
`preprocessing` load them. `text_encoding` and `images` make inputs.
"""
