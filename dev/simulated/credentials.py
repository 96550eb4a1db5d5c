"""Who may talk to the simulated cluster: static tokens of its components, and the key that signs service accounts.

The API server makes its own certificate on its first start and keeps it over restarts.
"""

from __future__ import annotations

import json
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .processes import ClusterError

ADMINISTRATOR = "admin"
# user -> groups. The components have the names that Kubernetes' own RBAC knows; KWOK plays every kubelet.
USERS = {
    ADMINISTRATOR: "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
    "kwok": "system:masters",
}


@dataclass(frozen=True)
class Credentials:
    """Files under `folder`; `url` is where the API server will be."""

    folder: Path
    url: str

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens.csv"

    @property
    def signing_key(self) -> Path:
        return self.folder / "service-account.key"

    @property
    def certificates(self) -> Path:
        return self.folder / "certificates"

    @property
    def authority(self) -> Path:
        """The API server's self-signed certificate, with its issuer; there once it has started."""
        return self.certificates / "apiserver.crt"

    def kubeconfig_of(self, user: str) -> Path:
        return self.folder / f"{user.replace(':', '-')}.kubeconfig"

    def token_of(self, user: str) -> str:
        token: str = json.loads(self.kubeconfig_of(user).read_text())["users"][0]["user"]["token"]
        return token

    def make(self) -> None:
        """Write tokens, kubeconfigs and the signing key."""
        made = {user: secrets.token_hex(16) for user in USERS}
        lines = [f'{made[user]},{user},{user},"{groups}"' for user, groups in USERS.items()]
        self.tokens.write_text("\n".join(lines) + "\n")
        self.tokens.chmod(0o600)
        for user, token in made.items():
            self.write_kubeconfig(self.kubeconfig_of(user), token)
        command = ["openssl", "genrsa", "-out", str(self.signing_key), "2048"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise ClusterError(f"{' '.join(command)}: {done.stderr}")

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """A kubeconfig that logs in with the token; returns its path."""
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "simulated",
            "clusters": [{"name": "simulated", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "user"}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(content))
        return path
