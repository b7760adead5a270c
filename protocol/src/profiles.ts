import { type Profile, profileSchema } from './profile.js'

/** The profiles that come with Tidemark. A gateway's configuration can add others. */

export const ROTATING_MACHINE: Profile = profileSchema.parse({
  name: 'rotating-machine',
  interval: '5s',
  metrics: [
    { name: 'temperature', unit: 'degC', min: 0, max: 200, required: true, resolution: 0.01 },
    { name: 'vibration', unit: 'mm/s', min: 0, max: 100, required: true, resolution: 0.01 },
    { name: 'pressure', unit: 'bar', min: 0, max: 400, resolution: 0.01 },
    { name: 'rpm', unit: '1/min', type: 'int', min: 0, max: 30_000 },
    { name: 'power_consumption', unit: 'kW', min: 0, max: 5000, resolution: 0.1 },
    { name: 'motor_current', unit: 'A', min: 0, max: 5000, resolution: 0.1 },
    { name: 'oil_temperature', unit: 'degC', min: -40, max: 200, resolution: 0.1 },
    { name: 'operating_hours', unit: 'h', type: 'int', min: 0 },
    { name: 'maintenance_flag', type: 'bool' },
    { name: 'location', type: 'string', max: 64 }
  ],
  features: [
    { name: 'temp_mean_1h', metric: 'temperature', aggregate: 'mean', window: '1h' },
    { name: 'temp_std_1h', metric: 'temperature', aggregate: 'std', window: '1h' },
    { name: 'vibration_max_1h', metric: 'vibration', aggregate: 'max', window: '1h' },
    { name: 'vibration_mean_1h', metric: 'vibration', aggregate: 'mean', window: '1h' },
    { name: 'temp_mean_24h', metric: 'temperature', aggregate: 'mean', window: '24h', hop: '10m' },
    { name: 'power_sum_24h', metric: 'power_consumption', aggregate: 'sum', window: '24h', hop: '10m' },
    { name: 'temp_rate_of_change', metric: 'temperature', aggregate: 'rate', window: '1h', per: '5m' }
  ],
  flags: [
    { name: 'temp_anomaly', flag: 'deviates', metric: 'temperature', mean: 'temp_mean_24h', std: 'temp_std_1h', factor: 3 },
    { name: 'vibration_spike', flag: 'exceeds', metric: 'vibration', of: 'vibration_mean_1h', factor: 2 }
  ]
})

/** The water-circulation test bed of the Skoltech Anomaly Benchmark (SKAB), its columns in the order of the recordings. */
export const WATER_LOOP: Profile = profileSchema.parse({
  name: 'water-loop',
  interval: '1s',
  metrics: [
    { name: 'accelerometer_1_rms', unit: 'g', min: 0, max: 16 },
    { name: 'accelerometer_2_rms', unit: 'g', min: 0, max: 16 },
    { name: 'motor_current', unit: 'A', min: 0, max: 50 },
    { name: 'pressure', unit: 'bar', min: -2, max: 25 },
    { name: 'temperature', unit: 'degC', min: -40, max: 150 },
    { name: 'fluid_temperature', unit: 'degC', min: -40, max: 150 },
    { name: 'motor_voltage', unit: 'V', min: 0, max: 500 },
    { name: 'flow_rate_rms', unit: 'l/min', min: 0, max: 1000 }
  ],
  features: [
    { name: 'temp_mean_10m', metric: 'temperature', aggregate: 'mean', window: '10m' },
    { name: 'temp_std_10m', metric: 'temperature', aggregate: 'std', window: '10m' },
    { name: 'vibration_max_10m', metric: 'accelerometer_1_rms', aggregate: 'max', window: '10m' },
    { name: 'vibration_mean_10m', metric: 'accelerometer_1_rms', aggregate: 'mean', window: '10m' },
    { name: 'current_mean_10m', metric: 'motor_current', aggregate: 'mean', window: '10m' },
    { name: 'pressure_min_10m', metric: 'pressure', aggregate: 'min', window: '10m' },
    { name: 'flow_mean_10m', metric: 'flow_rate_rms', aggregate: 'mean', window: '10m' },
    { name: 'temp_mean_1h', metric: 'temperature', aggregate: 'mean', window: '1h' }
  ],
  flags: [
    { name: 'temp_anomaly', flag: 'deviates', metric: 'temperature', mean: 'temp_mean_1h', std: 'temp_std_10m', factor: 3 },
    { name: 'vibration_spike', flag: 'exceeds', metric: 'accelerometer_1_rms', of: 'vibration_mean_10m', factor: 2 }
  ]
})

/** What the agent's `system` source measures of the machine it runs on. */
export const HOST: Profile = profileSchema.parse({
  name: 'host',
  interval: '10s',
  metrics: [
    { name: 'cpu_used', unit: '%', min: 0, max: 100, required: true, resolution: 0.1 },
    { name: 'memory_used', unit: '%', min: 0, max: 100, required: true, resolution: 0.1 },
    { name: 'load_1m', min: 0, max: 100_000, required: true, resolution: 0.01 },
    { name: 'swap_used', unit: '%', min: 0, max: 100, resolution: 0.1 },
    { name: 'disk_used', unit: '%', min: 0, max: 100, resolution: 0.1 },
    { name: 'cpu_temperature', unit: 'degC', min: -55, max: 150, resolution: 0.1, on_out_of_range: 'null' },
    { name: 'board_temperature', unit: 'degC', min: -55, max: 150, resolution: 0.1, on_out_of_range: 'null' },
    { name: 'uptime', unit: 's', type: 'int', min: 0 }
  ],
  features: [
    { name: 'cpu_mean_10m', metric: 'cpu_used', aggregate: 'mean', window: '10m' },
    { name: 'cpu_max_1h', metric: 'cpu_used', aggregate: 'max', window: '1h' },
    { name: 'memory_mean_10m', metric: 'memory_used', aggregate: 'mean', window: '10m' },
    { name: 'cpu_temperature_max_1h', metric: 'cpu_temperature', aggregate: 'max', window: '1h' }
  ]
})

export const BUILT_IN_PROFILES: readonly Profile[] = [ROTATING_MACHINE, WATER_LOOP, HOST]
