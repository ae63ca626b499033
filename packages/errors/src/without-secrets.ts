/** What stands in a message for what it must not say. */
const hidden = '***';

/**
 * URLs, with commas between, as a message may show them: without user and password, and without what a query asks for, unless
 * that is known to be no secret. Also for text that is no URL, in which whatever is before an @ may be a password.
 */
export function withoutSecrets(urls: string): string {
  return urls
    .split(/,(?=[a-z][a-z\d+.-]*:\/\/)/i)
    .map((url) =>
      url
        // The last one: a password may have an @ or a slash that nobody encoded. A URL within the query may be encoded.
        .replace(/^([a-z][a-z\d+.-]*:\/\/)?.*(?:@|%40)/is, (_, scheme = '') => `${scheme}${hidden}@`)
        .replace(/([?&](?!(?:endpoint|region)=)[^=&#]*=)[^&#]*/gi, `$1${hidden}`),
    )
    .join(',');
}
