"""Finding and loading models: catalog, hub, folder, GGUF; tokens; devices; limits."""
