"""Success in the real simulator, with intervals; and how far the models can be trusted."""
