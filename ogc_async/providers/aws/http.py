"""HTTP below botocore: the environment's proxies, but none on the way to this machine, and no redirects."""

from __future__ import annotations

from typing import Any

from aiobotocore.httpsession import AIOHTTPSession
from botocore.httpsession import ProxyConfiguration

from ogc_async.providers.proxies import is_loopback


class DirectToLoopback(AIOHTTPSession):  # type: ignore[misc]  # aiobotocore has no types
    """aiobotocore's session; botocore itself spares this machine only where ``NO_PROXY`` says so."""

    def __init__(self, *, proxies: Any = None, proxies_config: Any = None, **options: Any) -> None:
        super().__init__(proxies=proxies, proxies_config=proxies_config, **options)
        self._proxy_config = _Proxies(proxies=proxies, proxies_settings=proxies_config)

    async def _get_session(self, proxy_url: Any) -> Any:
        return _Unredirected(await super()._get_session(proxy_url))


class _Unredirected:
    """aiohttp's session, which would carry a signed request on to wherever a reply points. The clouds never do so."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, *arguments: Any, **options: Any) -> Any:
        """As aiohttp's; a redirect is the reply."""
        return self._session.request(*arguments, allow_redirects=False, **options)


class _Proxies(ProxyConfiguration):  # type: ignore[misc]  # botocore has no types
    def proxy_url_for(self, url: str) -> Any:
        """Each request's own way: one client may be redirected to another host."""
        return None if is_loopback(url) else super().proxy_url_for(url)
