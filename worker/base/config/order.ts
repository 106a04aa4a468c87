/**
 * What is wrong with the order of a channel's providers.
 * @param setting such as EMAIL_PROVIDERS
 * @param needs for each provider the settings of which one must be set
 */
export function orderFaults(
  setting: string,
  order: string[] | undefined,
  needs: Record<string, string[]>,
  given: Record<string, string>,
): string[] {
  return (order ?? []).flatMap((name) => {
    const settings = needs[name];
    if (!settings) return [`${setting}: has a provider that there is not; there are ${Object.keys(needs).join(', ')}`];
    if (settings.some((each) => each in given)) return [];
    return [`${settings.join(' or ')}: is missing, while ${setting} has ${name}`];
  });
}
