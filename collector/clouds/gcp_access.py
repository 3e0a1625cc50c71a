"""Signs in to Google and puts calls on the wire: google-auth's credentials over connections of our own.

Whatever of google-auth is used is imported here. One ``Access`` serves every run over its organisation, so a token is
fetched once and connections stay open. Retries are not made here: ``rest.Edge`` counts and paces them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import google.auth
import requests
from google.auth import aws, compute_engine, external_account, identity_pool, impersonated_credentials, pluggable
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.auth.transport.requests import Request
from google.oauth2 import credentials, service_account

from collector import canonical, hush
from collector.clouds.connections import CONNECTIONS_MAX
from collector.clouds.connections import session as _session
from collector.clouds.gcp import GcpSettings
from collector.clouds.gcp_answers import AUTH, CREDENTIAL, DELEGATED_HOSTS, HOST, OAUTH, delegated_scope, trouble
from collector.clouds.rest import CONNECT_SECONDS_MAX, READ_SECONDS_MAX, Call, Reply
from collector.errors import CannotObserve, ConfigError, Denied, Disabled, Throttled, Unavailable

# What the collector may do is in its role; a narrower scope would close Cloud Asset Inventory. The second scope lets
# Google say whose the token is.
SCOPES = (f"{AUTH}cloud-platform", f"{AUTH}userinfo.email")
AGENT = "evidence-collector (gzip)"  # Google compresses only for who says so here too
WORDS_MAX = 300  # of an error of google-auth
NO_ADMIN = (
    "no workspace_admin is configured, so users, units and their policies cannot be read; set it and delegate the "
    "scopes of `collector policy gcp`"
)
NO_ACCOUNT = (
    "the credentials are of no service account, so Workspace can delegate nothing to them; "
    "set impersonate to the collector's service account"
)


class Access:
    """The credentials and the connections of one organisation, for the life of the process and any number of threads.

    Nothing is read and nobody is asked before the first call.
    """

    def __init__(self, settings: GcpSettings, *, session: requests.Session | None = None) -> None:
        """``session`` stands in for the network, for sign-in too."""
        self._settings = settings
        self._session = session or _session()
        self._request = _Timed(session=self._session)
        self._lock = threading.Lock()
        self._signed_in: dict[str, _Token] = {}  # by delegated scope; "" for the collector itself

    def send(self, call: Call) -> Reply:
        """The response to a call. Raises CannotObserve without a token, OSError when nothing came back."""
        if call.method == CREDENTIAL:
            return self._who()
        where = urlsplit(call.url)
        if where.scheme != "https" or not HOST.fullmatch(where.netloc):
            raise ConfigError(f"a token of Google was about to leave for {where.netloc}; it was not sent")
        scope = delegated_scope(where.netloc, where.path) if where.netloc in DELEGATED_HOSTS else ""
        token = self._token(scope)
        headers = {"Accept": "application/json", "User-Agent": AGENT}
        form = None
        if where.netloc == OAUTH:  # asks about the token itself, which so stays out of the URL
            form = {"access_token": token.text()}
        else:
            token.sign(headers)
        query = dict(call.query) or None
        reply = self._reply(call.method, call.url, params=query, json=call.body, data=form, headers=headers)
        if reply.status == 401 or (form is not None and reply.status >= 400):
            token.refuse(form["access_token"] if form else headers["authorization"].removeprefix("Bearer "))
        return reply

    def exchange(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, Any],
        headers: Mapping[str, str],
        content: bytes | None = None,
        read_seconds: float = READ_SECONDS_MAX,
    ) -> Reply:
        """The response to a request as it is, for services that do not speak JSON alone. Raises as ``send`` does."""
        where = urlsplit(url)
        if where.scheme != "https" or not HOST.fullmatch(where.netloc):
            raise ConfigError(f"a token of Google was about to leave for {where.netloc}; it was not sent")
        token = self._token("")
        signed = {"User-Agent": AGENT, **headers}
        token.sign(signed)
        reply = self._reply(method, url, params=dict(query), data=content, headers=signed, read_seconds=read_seconds)
        if reply.status == 401:
            token.refuse(signed["authorization"].removeprefix("Bearer "))
        return reply

    def _reply(self, method: str, url: str, *, read_seconds: float = READ_SECONDS_MAX, **request: Any) -> Reply:
        try:
            response = self._session.request(
                method, url, timeout=(CONNECT_SECONDS_MAX, read_seconds), allow_redirects=False, **request
            )
        except requests.Timeout as error:
            raise TimeoutError(str(error)) from error
        except requests.RequestException as error:
            raise ConnectionError(str(error)) from error
        names = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, names, response.content)

    def _who(self) -> Reply:
        """Whose the credential says it is: of a pool of workload identity the pool, where it acts as no account."""
        token = self._token("")
        token.text()
        credential = token.credential
        name = _email(credential) or getattr(credential, "account", "") or getattr(credential, "_audience", "")
        return Reply(200, {}, canonical.payload({"principal": str(name)}))

    def _token(self, scope: str) -> _Token:
        with self._lock:
            if scope not in self._signed_in:
                own = self._signed_in.setdefault("", _Token(self._own, self._request))
                if scope:
                    self._signed_in[scope] = _Token(lambda: self._delegated(own, scope), self._request)
            return self._signed_in[scope]

    # --- credentials ---

    def _source(self) -> Any:
        """The credential that the configuration or the environment names."""
        file = self._settings.credentials_file
        if file is None:
            return google.auth.default(scopes=SCOPES, request=self._request)[0]
        return _of_file(file)

    def _own(self) -> Any:
        found = self._source()
        if account := self._settings.impersonate:
            found = _acting_as(found, account, SCOPES)
        project = self._settings.quota_project
        return found.with_quota_project(project) if project else found

    def _delegated(self, own: _Token, scope: str) -> Any:
        """For one scope, in the name of the Workspace administrator: signed by the key, or where there is none by
        Google, for whom may create tokens of the service account: the impersonating one, or the account itself."""
        admin = self._settings.workspace_admin
        if not admin:
            raise Denied(NO_ADMIN)
        if account := self._settings.impersonate:
            return _acting_as(self._source(), account, (scope,), subject=admin)
        own.text()
        credential = own.credential
        if isinstance(credential, service_account.Credentials):
            return credential.with_quota_project(None).with_scopes([scope]).with_subject(admin)
        account = _email(credential)
        if not account:
            raise Denied(NO_ACCOUNT)
        return _acting_as(credential, account, (scope,), subject=admin)


class _Token:
    """One credential and its token: fetched by one thread, used by all, and never again once it was refused."""

    def __init__(self, make: Callable[[], Any], request: Any) -> None:
        self._make = make
        self._request = request
        self._lock = threading.Lock()
        self._refused: deque[str] = deque(maxlen=CONNECTIONS_MAX)
        self.credential: Any = None  # from the first ``text`` on

    def text(self) -> str:
        """A token that is good for some minutes. Raises CannotObserve, or OSError when Google was not to be reached."""
        with self._lock:
            try:
                # One that was refused is made anew, because what it was got with may be refused as well.
                if self.credential is None or self.credential.token in self._refused:
                    self.credential = self._make()
                if not self.credential.valid or self.credential.token in self._refused:
                    self.credential.refresh(self._request)
            except GoogleAuthError as error:
                raise _no_token(error) from error
            except (ValueError, OSError) as error:
                if isinstance(error, requests.RequestException):
                    raise ConnectionError(str(error)) from error
                raise Denied(f"the Google credentials cannot be used: {hush.cut(str(error), WORDS_MAX)}") from error
            hush.hold(str(self.credential.token), passing=True)
            return str(self.credential.token)

    def sign(self, headers: dict[str, str]) -> None:
        """Puts the token into the headers of a call, and the project whose quotas it uses."""
        token = self.text()
        self.credential.apply(headers, token=token)

    def refuse(self, token: str) -> None:
        with self._lock:
            if token not in self._refused:
                self._refused.append(token)


def _of_file(file: Path) -> Any:
    """The credential of a key file, of a file of workload identity federation, or of ``gcloud auth``.

    Raises Denied for anything else; google-auth's own loader of any kind of file is deprecated.
    """
    try:
        info = canonical.parse(file.read_bytes())
    except (OSError, ValueError) as error:
        raise Denied(f"credentials_file {file.name} cannot be read: {error}") from error
    kind = info.get("type") if isinstance(info, dict) else None
    make: Any
    if kind == "service_account":
        make = service_account.Credentials.from_service_account_info
    elif kind == "authorized_user":
        make = credentials.Credentials.from_authorized_user_info
    elif kind == "impersonated_service_account":
        make = impersonated_credentials.Credentials.from_impersonated_service_account_info
    elif kind == "external_account":
        make = _federated(info).from_info
    else:
        raise Denied(
            f"credentials_file {file.name} is of type {kind!r}; it must be a service account's key, a configuration of "
            "workload identity federation, or what gcloud auth application-default login writes"
        )
    try:
        return make(info, scopes=SCOPES)
    except (ValueError, GoogleAuthError) as error:
        raise Denied(f"credentials_file {file.name} cannot be used: {hush.cut(str(error), WORDS_MAX)}") from error


def _federated(info: dict[str, Any]) -> Any:
    """The class that fetches the foreign token which a pool of workload identity takes."""
    if info.get("subject_token_type") == "urn:ietf:params:aws:token-type:aws4_request":
        return aws.Credentials
    source = info.get("credential_source")
    return pluggable.Credentials if isinstance(source, dict) and "executable" in source else identity_pool.Credentials


def _acting_as(source: Any, account: str, scopes: tuple[str, ...], **more: Any) -> Any:
    make: Any = impersonated_credentials.Credentials
    return make(source, account, list(scopes), **more)


def _email(credential: Any) -> str:
    """The service account that a credential acts as, "" for none."""
    if isinstance(credential, external_account.Credentials):
        return str(credential.service_account_email or "")
    known = (service_account.Credentials, compute_engine.Credentials, impersonated_credentials.Credentials)
    return str(credential.service_account_email) if isinstance(credential, known) else ""


class _Timed(Request):
    """Requests as google-auth makes them for a token; by itself it would wait two minutes, and follow a redirect."""

    def __call__(
        self, url: Any, method: Any = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **rest: Any
    ) -> Any:
        rest["allow_redirects"] = False
        return super().__call__(url, method, body, headers, READ_SECONDS_MAX, **rest)  # type: ignore[no-untyped-call]


def _no_token(error: GoogleAuthError) -> Exception:
    """A failure to sign in as one of ours, a failure of the network as OSError."""
    words = hush.cut(str(error.args[0] if error.args else error), WORDS_MAX)
    if isinstance(error, TransportError):
        return ConnectionError(words)
    if isinstance(error, DefaultCredentialsError):
        return Denied(
            f"no Google credentials: {words}; set credentials_file, or GOOGLE_APPLICATION_CREDENTIALS, or run where "
            "there is a metadata server"
        )
    if isinstance(error, RefreshError):
        if error.retryable:
            return Unavailable(f"Google failed to sign the collector in ({words}); the next run tries again")
        if len(error.args) > 1 and (found := _of_iam(words, error.args[1])) is not None:
            return found
        remedy = "look at the credentials in the configuration"
        if "unauthorized_client" in words:
            remedy = "delegate the scopes to the service account in the Admin console: collector policy gcp"
        return Denied(f"no token of Google: {words}; {remedy}")
    return Denied(f"no token of Google: {words}")


def _of_iam(words: str, text: Any) -> CannotObserve | None:
    """What IAM Credentials said when it was to act or to sign for a service account; None for any other text."""
    try:
        body = canonical.parse(text)
        status = int(body["error"]["code"])
    except (ValueError, TypeError, LookupError):
        return None
    found = trouble(status, body)
    kind = next((each for each in (Disabled, Throttled, Unavailable) if each.code == found.failure), Denied)
    said = hush.cut(f"{words}: {found.code} {found.message}", WORDS_MAX)
    return kind(f"no token of Google: {said}; {found.remedy or 'the next run tries again'}")
