"""Signing in with Firebase on the function's own page: the scripts, and the policy that they need.

Sources: the addresses in firebase-auth.js itself, and https://firebase.google.com/docs/web/alt-setup.
"""

import json

from ..settings import FirebaseConfig

VERSION = "12.19.0"
SCRIPTS = f"https://www.gstatic.com/firebasejs/{VERSION}/"
INTEGRITY = {
    "firebase-app.js": "sha384-RJIsoe0CFvPanuqLw3NPVreeQfBNBS6DotHoCTfrxasRhbZXK3oIK/kWJLO/hCaU",
    "firebase-auth.js": "sha384-AgtBGZZ/u/7uqnj2oxrSf5J+QuQXF4sEG1w/6PUzbyR3RIG7mkXR2z8Tpdeqay0t",
}
"""Hashes of this version's scripts, from the npm package; the browser refuses any other script."""
IMPORT_MAP = json.dumps({"integrity": {SCRIPTS + name: digest for name, digest in INTEGRITY.items()}})
"""Tells the browser the hashes, also for scripts that another script imports."""


def policy(config: FirebaseConfig) -> dict[str, str]:
    """What the page's Content-Security-Policy allows in addition, by directive."""
    return {
        # The last two are for Google's sign-in window: the loader, and the scripts that it loads.
        "script-src": f"{SCRIPTS} https://apis.google.com/js/api.js https://apis.google.com/_/scs/",
        "connect-src": "https://identitytoolkit.googleapis.com https://securetoken.googleapis.com",
        "frame-src": f"https://{config.auth_domain}",
    }


def facts(config: FirebaseConfig) -> dict[str, object]:
    """What the page's script needs to know."""
    options = {"apiKey": config.api_key, "authDomain": config.auth_domain, "projectId": config.project}
    return {"scripts": SCRIPTS, "options": options}
