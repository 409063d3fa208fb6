"""What asyncio leaves to its users, each piece without a word about clouds, databases or SSH."""
