"""A model as one GGUF file, which llama.cpp and Ollama read. Read `writing.py` first."""
