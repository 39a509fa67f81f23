"""The control plane: reconciles Gradatim's kinds by observing, planning and applying.

It must never import torch, transformers, ray or weaviate: it talks to a runtime, an artifact store and a vector store over their wire
protocols only, and treats what they answer as untrusted.
"""
