/** Patterns of the formats that are enforced (RFC 3339, RFC 4122, …); each may say less than its RFC, never more. */
export const formatPatterns: ReadonlyMap<string, string> = (() => {
  const month31 = '(0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])';
  const month30 = '(0[469]|11)-(0[1-9]|[12]\\d|30)';
  // Without the 29th of February, which not every year has.
  const date = `\\d{4}-(${month31}|${month30}|02-(0[1-9]|1\\d|2[0-8]))`;
  const time = '([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-](0\\d|1[0-4]):[0-5]\\d)';
  const label = '[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?';
  const octet = '(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)';
  const timePart = 'T(\\d{1,4}H(\\d{1,4}M)?(\\d{1,4}S)?|\\d{1,4}M(\\d{1,4}S)?|\\d{1,4}S)';
  const dateParts = '(\\d{1,4}Y(\\d{1,4}M)?(\\d{1,4}D)?|\\d{1,4}M(\\d{1,4}D)?|\\d{1,4}D)';
  return new Map(
    Object.entries({
      date,
      time,
      'date-time': `${date}T${time}`,
      duration: `P(${dateParts}(${timePart})?|${timePart}|\\d{1,4}W)`,
      email: `[a-z0-9_+-]+(\\.[a-z0-9_+-]+){0,3}@(${label}\\.){1,3}[A-Za-z]{2,16}`,
      hostname: `${label}(\\.${label}){0,3}`,
      ipv4: `${octet}(\\.${octet}){3}`,
      ipv6: '[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}',
      uuid: '[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}',
    }).map(([name, pattern]) => [name, `^${pattern}$`]),
  );
})();
