"""What the chat app is made of; `toolkit/app.py` hangs it into Chainlit, which only `server.py` knows besides."""
