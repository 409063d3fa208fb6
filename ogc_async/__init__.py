"""Launch, deploy to and tear down fleets of cloud nodes from one YAML spec, with asyncio."""
