/** A mistake in the configuration, or a file that it names and that is not as it should be. Exit code 2. */
export class ConfigError extends Error {
  readonly code = 'CONFIG'
}
