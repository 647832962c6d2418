"""The folders on disk: manifest and verification, publication, adapters, base models, the hub."""
