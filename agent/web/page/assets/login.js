// Keeps the #name of the address over the sign-in, and skips the form when
// there is no need for it: a browser that follows a link from another site
// does not send the cookie with it (SameSite=Strict), but it does with this.

const form = document.querySelector('form');
form.action += location.hash;
const response = await fetch('api/status', { cache: 'no-store' });
if (response.ok) location.replace(`./${location.hash}`);
