"""What the chat app is made of; `toolkit/app.py` hangs it into Chainlit. Nothing here but `server.py` imports that."""
