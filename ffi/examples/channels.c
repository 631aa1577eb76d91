#include "channels.h"

#include <string.h>

#define MDC_ECG_HEART_RATE 147842u
#define MDC_DIM_BEAT_PER_MIN 264864u
#define MDC_ECG_ELEC_POTL_II 131330u
#define MDC_DIM_MILLI_VOLT 266418u
#define MDC_EVT_STAT_OFF 197262u
#define MDC_EVT_ECG_TACHY 196674u

vw_status channels_encode(uint8_t *out, size_t out_len, size_t *len) {
    static const vw_component rate = {.metric = MDC_ECG_HEART_RATE, .unit = MDC_DIM_BEAT_PER_MIN, .scale_mantissa = 1};
    // 5 microvolts a step
    static const vw_component lead = {
        .metric = MDC_ECG_ELEC_POTL_II, .unit = MDC_DIM_MILLI_VOLT, .scale_mantissa = 5, .scale_exponent = -3};
    const vw_channel channels[] = {
        {.number = HEART_RATE, .kind = VW_CHANNEL_NUMERIC, .metric = MDC_ECG_HEART_RATE,
         .rate_numerator = 1, .rate_denominator = 1, .components = &rate, .component_count = 1},
        {.number = ECG, .kind = VW_CHANNEL_WAVEFORM, .metric = MDC_ECG_ELEC_POTL_II,
         .rate_numerator = 250, .rate_denominator = 1, .components = &lead, .component_count = 1},
        {.number = KEYS, .kind = VW_CHANNEL_EVENT, .metric = MDC_EVT_STAT_OFF},
    };
    return vw_descriptors_encode(channels, sizeof channels / sizeof channels[0], out, out_len, len);
}

static vw_status record_ecg(vw_device *device, uint64_t now) {
    int32_t samples[125];
    for (int32_t n = 0; n < 125; n++) {
        int32_t distance = n < 60 ? 60 - n : n - 60;
        samples[n] = distance < 5 ? 40 * (5 - distance) : n % 3;
    }
    const vw_waveform waveform = {
        .channel = ECG, .components = 1, .first_sample = 0, .samples = samples, .rows = 125};
    return vw_record_waveform(device, now, VW_LANE_WAVEFORM, now, &waveform, NULL);
}

vw_status channels_record_all(vw_device *device, uint64_t now) {
    static const int32_t heart_rate = 72;
    static const uint64_t offsets[] = {0, 1000, 2000, 3000};
    static const int32_t rates[] = {70, 71, 73, 72};
    static const uint8_t own[] = {0xc0, 0xff, 0xee}; // what only this device and its backend understand
    static const char remark[] = "electrodes changed";
    const vw_measurement lead_off = {.channel = HEART_RATE, .count = 1, .values = {{.state = VW_ABSENT_SENSOR_OFF}}};
    const vw_trend trend = {
        .channel = HEART_RATE, .components = 1, .offsets_ms = offsets, .values = rates, .points = 4};
    const vw_event_record key = {.channel = KEYS, .code = MDC_EVT_STAT_OFF};
    const vw_alarm alarm = {.channel = HEART_RATE, .kind = VW_ALARM_PHYSIOLOGICAL, .priority = VW_PRIORITY_HIGH,
                            .phase = VW_PHASE_START, .code = MDC_EVT_ECG_TACHY, .has_value = 1, .value = 162,
                            .has_high_limit = 1, .high_limit = 150};
    const vw_annotation annotation = {.has_channel = 1, .channel = ECG, .span_ms = 1200,
                                      .text = (const uint8_t *)remark, .text_len = sizeof remark - 1};
    const vw_alarm_limits limits = {.channel = HEART_RATE, .has_low = 1, .low = 50, .has_high = 1, .high = 150};
    vw_accepted accepted = {0};
    vw_status status = vw_record_values(device, now, VW_LANE_EVENT, now, HEART_RATE, &heart_rate, 1, &accepted);
    if (status == VW_OK && accepted.count != 1) {
        status = VW_ERROR_OTHER;
    }
    if (status == VW_OK) {
        status = vw_record_measurement(device, now, VW_LANE_EVENT, now, &lead_off, NULL);
    }
    if (status == VW_OK) {
        status = vw_record_event(device, now, VW_LANE_EVENT, now, &key, NULL);
    }
    if (status == VW_OK) {
        status = vw_record_annotation(device, now, VW_LANE_EVENT, now, &annotation, NULL);
    }
    if (status == VW_OK) {
        status = vw_record_alarm_limits(device, now, VW_LANE_EVENT, now, &limits, NULL);
    }
    if (status == VW_OK) {
        status = vw_record_extension(device, now, VW_LANE_EVENT, now, 200, own, sizeof own, NULL);
    }
    if (status == VW_OK) {
        status = vw_record_trend(device, now, VW_LANE_TREND, now, &trend, NULL);
    }
    if (status == VW_OK) {
        status = record_ecg(device, now);
    }
    if (status == VW_OK) {
        status = vw_record_alarm(device, now, VW_LANE_ALARM, now, &alarm, NULL);
    }
    return status;
}
