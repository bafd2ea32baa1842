// Signing in with Firebase, on pages of functions that have FIREBASE_CONFIG.

import { $, sentence, service } from "./page.js";
import { Failure, renewTokensBy } from "./requests.js";

const { scripts, options } = service.firebase;

/** The message for each of Firebase's error codes; empty if none is needed. */
const REASONS = {
  "invalid-credential": "no account has this e-mail address and password",
  "user-not-found": "no account has this e-mail address and password",
  "wrong-password": "no account has this e-mail address and password",
  "invalid-email": "this is not an e-mail address",
  "user-disabled": "this account is disabled",
  "too-many-requests": "too many attempts; wait for some minutes, or reset the password",
  "network-request-failed": "Firebase could not be reached; check your network connection",
  "popup-blocked": "the browser has blocked Google's window; allow it for this page, and try again",
  "popup-closed-by-user": "",
  "cancelled-popup-request": "",
  "operation-not-allowed": "this way to sign in is not switched on in the Firebase console",
  "unauthorized-domain": `${location.hostname} is not one of the "Authorized domains" in the Firebase console`,
};

// Closing the tab signs the user out: several people may use the same computer.
const loaded = (async () => {
  const [{ initializeApp }, library] = await Promise.all([import(`${scripts}firebase-app.js`), import(`${scripts}firebase-auth.js`)]);
  const auth = library.initializeAuth(initializeApp(options), {
    persistence: library.browserSessionPersistence,
    popupRedirectResolver: library.browserPopupRedirectResolver,
  });
  library.onIdTokenChanged(auth, showUser);
  await auth.authStateReady();
  return { auth, library };
})();

/** Show who has signed in, and put the token into the field that the calls read. */
async function showUser(user) {
  const token = $("#id-token");
  token.value = user ? await user.getIdToken() : "";
  token.dispatchEvent(new Event("input", { bubbles: true }));
  $("#user").textContent = user?.email ?? user?.uid ?? "";
  $("#sign-in").hidden = Boolean(user);
  $("#signed-in").hidden = !user;
}

function tellAccount(text) {
  $("#account-news").textContent = text && sentence(text);
}

/** Do something with Firebase, and show the reason if it fails. */
async function attempt(work) {
  tellAccount("");
  try {
    const { auth, library } = await loaded;
    await work(auth, library);
  } catch (error) {
    const code = error.code?.replace("auth/", "");
    tellAccount(REASONS[code] ?? (code ? error.message : "Firebase's scripts could not be loaded; open the page again"));
  }
}

renewTokensBy(async (anew) => {
  const { auth } = await loaded.catch(() => ({}));
  if (!auth?.currentUser) throw new Failure("sign in first, at the top of this page", true);
  try {
    $("#id-token").value = await auth.currentUser.getIdToken(anew);
  } catch (error) {
    throw new Failure(`Firebase could not renew the sign-in: ${error.message}`, true);
  }
});

$("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const { email, password } = $("#sign-in").elements;
  attempt(async (auth, library) => {
    await library.signInWithEmailAndPassword(auth, email.value, password.value);
    password.value = "";
    $("#sign-out").focus();
  });
});
$("#google").addEventListener("click", () =>
  attempt((auth, library) => library.signInWithPopup(auth, new library.GoogleAuthProvider())),
);
$("#sign-out").addEventListener("click", () =>
  attempt(async (auth, library) => {
    await library.signOut(auth);
    $("#sign-in").elements.email.focus();
  }),
);
loaded.catch(() => tellAccount("Firebase's scripts could not be loaded; open the page again"));
