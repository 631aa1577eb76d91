//! Codes of ISO/IEEE 11073-10101: partition · 65536 + term.
//!
//! `data/mdc_codes.csv` and `data/mdc_units.csv` say where each comes from; a test holds the constants to these
//! files. Codes with one source only say so. [`term`](super::term) tells what a code means.

use super::table::{evidence, term_table};

term_table! {
    prefix "MDC_";
    ATTR_VAL_BATT_CHARGE = (1, 2460), "battery charge", confirmed, unit::PERCENT;
    ATTR_EVENT_PHASE = (1, 2945), "phase of an event, as an attribute", confirmed;
    ATTR_ALARM_STATE = (1, 2946), "state of an alarm, as an attribute", confirmed;
    ATTR_ALARM_PRIORITY = (1, 2948), "priority of an alarm, as an attribute", confirmed;
    ATTR_ALERT_TYPE = (1, 2949), "type of an alert, as an attribute", confirmed;
    ATTR_GPS_LAT = (1, 2997), "latitude, as an attribute", one "GHS", unit::ANG_DEG;
    ATTR_GPS_LON = (1, 2998), "longitude, as an attribute", one "GHS", unit::ANG_DEG;
    ECG_ELEC_POTL = (2, 256), "ECG, lead not said", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_I = (2, 257), "ECG, lead I", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_II = (2, 258), "ECG, lead II", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_V1 = (2, 259), "ECG, lead V1", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_V2 = (2, 260), "ECG, lead V2", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_V3 = (2, 261), "ECG, lead V3", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_V4 = (2, 262), "ECG, lead V4", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_V5 = (2, 263), "ECG, lead V5", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_V6 = (2, 264), "ECG, lead V6", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_III = (2, 317), "ECG, lead III", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_AVR = (2, 318), "ECG, lead aVR", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_AVL = (2, 319), "ECG, lead aVL", confirmed, unit::MILLI_VOLT;
    ECG_ELEC_POTL_AVF = (2, 320), "ECG, lead aVF", confirmed, unit::MILLI_VOLT;
    ECG_TIME_PD_RR_GL = (2, 16168), "time between two R waves", confirmed, unit::MILLI_SEC;
    ECG_HEART_RATE = (2, 16770), "heart rate, from the ECG", confirmed, unit::BEAT_PER_MIN, loinc confirmed ["8867-4"];
    PULS_OXIM_PULS_RATE = (2, 18458), "pulse rate, from an oximeter", confirmed, unit::BEAT_PER_MIN, loinc confirmed ["8867-4"];
    PULS_RATE_NON_INV = (2, 18474), "pulse rate, from a cuff", confirmed, unit::BEAT_PER_MIN, loinc confirmed ["8867-4"];
    PRESS_BLD_NONINV = (2, 18948), "blood pressure, from a cuff", confirmed, unit::MMHG, loinc confirmed ["85354-9"];
    PRESS_BLD_NONINV_SYS = (2, 18949), "systolic pressure, from a cuff", confirmed, unit::MMHG, loinc confirmed ["8480-6"];
    PRESS_BLD_NONINV_DIA = (2, 18950), "diastolic pressure, from a cuff", confirmed, unit::MMHG, loinc confirmed ["8462-4"];
    PRESS_BLD_NONINV_MEAN = (2, 18951), "mean pressure, from a cuff", confirmed, unit::MMHG, loinc one "MII" ["8478-0"];
    PRESS_BLD_ART = (2, 18960), "arterial pressure, invasive", confirmed, unit::MMHG;
    PRESS_BLD_ART_SYS = (2, 18961), "systolic arterial pressure, invasive", confirmed, unit::MMHG, loinc one "an ICU project" ["76215-3"];
    PRESS_BLD_ART_DIA = (2, 18962), "diastolic arterial pressure, invasive", confirmed, unit::MMHG, loinc one "an ICU project" ["76213-8"];
    PRESS_BLD_ART_MEAN = (2, 18963), "mean arterial pressure, invasive", confirmed, unit::MMHG, loinc one "an ICU project" ["76214-6"];
    PRESS_BLD_ART_ABP = (2, 18964), "arterial blood pressure, invasive, site not said", confirmed, unit::MMHG;
    TEMP_BODY = (2, 19292), "body temperature", confirmed, unit::DEGC, loinc confirmed ["8310-5"];
    TEMP_CORE = (2, 19296), "core temperature", confirmed, unit::DEGC, loinc one "MII" ["8329-5"];
    PULS_OXIM_PERF_REL = (2, 19376), "perfusion index", confirmed, unit::PERCENT;
    PULS_OXIM_PLETH = (2, 19380), "plethysmogram", confirmed, unit::DIMLESS;
    PULS_OXIM_SAT_O2 = (2, 19384), "oxygen saturation", confirmed, unit::PERCENT, loinc confirmed ["2708-6", "59408-5"];
    RESP_RATE = (2, 20490), "respiration rate", confirmed, unit::RESP_PER_MIN, loinc confirmed ["9279-1"];
    TTHOR_RESP_RATE = (2, 20506), "respiration rate, from thoracic impedance", confirmed, unit::RESP_PER_MIN, loinc confirmed ["9279-1"];
    CO2_RESP_RATE = (2, 20522), "respiration rate, from CO2", confirmed, unit::RESP_PER_MIN, loinc confirmed ["9279-1"];
    CONC_AWAY_CO2_ET = (2, 20636), "end-tidal CO2", confirmed, unit::MMHG, loinc one "MII" ["19891-1"];
    IMPED_TTHOR = (2, 20708), "respiration, from thoracic impedance", one "Mindray HL7";
    FLOW_FLUID_PUMP = (2, 26712), "infusion rate, as set", confirmed, unit::MILLI_L_PER_HR;
    VOL_FLUID_TBI_REMAIN = (2, 26800), "volume that remains to be infused", confirmed, unit::MILLI_L;
    VOL_FLUID_TBI = (2, 26812), "volume to be infused", confirmed, unit::MILLI_L;
    VOL_FLUID_DELIV_TOTAL = (2, 26921), "volume infused in all", confirmed, unit::MILLI_L;
    FLOW_FLUID_PUMP_CURRENT = (2, 26942), "infusion rate, current", confirmed, unit::MILLI_L_PER_HR;
    CONC_GLU_CAPILLARY_WHOLEBLOOD = (2, 29112), "glucose in capillary blood", confirmed, unit::MILLI_G_PER_DL;
    CONC_GLU_ISF = (2, 29140), "glucose in interstitial fluid", confirmed, unit::MILLI_G_PER_DL, loinc confirmed ["99504-3"];
    PUMP_INFUSING_STATUS = (2, 53447), "whether the pump infuses", confirmed;
    MASS_BODY_ACTUAL = (2, 57664), "body weight", confirmed, unit::KILO_G, loinc confirmed ["29463-7"];
    EVT_HI = (3, 40), "above the high limit", confirmed;
    EVT_LO = (3, 62), "below the low limit", confirmed;
    EVT_LEAD_OFF = (3, 72), "lead off", one "an HL7 ACM test";
    EVT_COMM_LOST = (3, 140), "communication lost", one "GHS";
    EVT_BATT_LO = (3, 194), "battery low", confirmed;
    EVT_CUFF_LEAK = (3, 228), "cuff leaks", one "Philips btserver";
    EVT_SENSOR_DISCONN = (3, 308), "sensor disconnected", one "Philips btserver";
    EVT_FLOW_OBSTRUC = (3, 576), "flow obstructed", one "T-CABS";
    EVT_PUMP_DELIV_START = (3, 680), "delivery has started", confirmed;
    EVT_PUMP_DELIV_STOP = (3, 682), "delivery has stopped", one "GHS";
    EVT_PUMP_DELIV_COMP = (3, 684), "delivery is complete", one "B. Braun HL7";
    EVT_VOL_INFUS_NEAR_COMP = (3, 726), "delivery is nearly complete", one "B. Braun HL7";
    EVT_APNEA = (3, 3072), "apnoea", confirmed;
    EVT_ECG_ASYSTOLE = (3, 3076), "asystole", one "DICOM CID 3038";
    EVT_ECG_SINUS_BRADY = (3, 3084), "bradycardia", one "DICOM CID 3038";
    EVT_ECG_ATR_FIB = (3, 3128), "atrial fibrillation", one "DICOM CID 3038";
    EVT_DESAT = (3, 3246), "desaturation", confirmed;
    EVT_ECG_SINUS_TACHY = (3, 3262), "tachycardia", one "DICOM CID 3038";
    HEAD_EAR = (7, 1520), "ear", one "Mdc.java";
    TRUNK_BREAST = (7, 1664), "chest", one "Mdc.java";
    UPEXT_FINGER = (7, 1748), "finger", one "Mdc.java";
    UPEXT_ARM_UPPER = (7, 1780), "upper arm", one "Mdc.java";
    UPEXT_WRIST = (7, 1784), "wrist", one "Mdc.java";
    CGM_SENSOR_CALIBRATION = (128, 29428), "glucose sensor calibrated", one "Mdc.java";
    INS_BASAL = (128, 29680), "basal insulin delivered", one "Mdc.java", unit::INTL_UNIT_PER_HR;
    INS_BOLUS = (128, 29736), "insulin bolus delivered", one "Mdc.java", unit::INTL_UNIT;
    HF_ALT = (129, 102), "altitude", confirmed, unit::X_M;
    HF_LATITUDE = (129, 106), "latitude", confirmed, unit::ANG_DEG;
    HF_LONGITUDE = (129, 107), "longitude", confirmed, unit::ANG_DEG;
    HF_3D_ACC_X = (129, 2011), "acceleration along x", one "Mdc.java", unit::M_PER_SEC_SQ;
    HF_3D_ACC_Y = (129, 2012), "acceleration along y", one "Mdc.java", unit::M_PER_SEC_SQ;
    HF_3D_ACC_Z = (129, 2013), "acceleration along z", one "Mdc.java", unit::M_PER_SEC_SQ;
    AI_TYPE_SENSOR_FALL = (130, 1), "fall", confirmed;
    AI_TYPE_SENSOR_PERS = (130, 2), "personal alarm", confirmed;
    AI_TYPE_SENSOR_DOSAGE = (130, 13), "dose taken", confirmed;
}

/// Codes of units.
pub mod unit {
    use super::super::table::{evidence, unit_table};

    unit_table! {
        DIMLESS = (4, 512), "1", confirmed;
        PERCENT = (4, 544), "%", confirmed;
        ANG_DEG = (4, 736), "deg", confirmed;
        X_M = (4, 1280), "m", confirmed;
        MILLI_L = (4, 1618), "mL", confirmed;
        KILO_G = (4, 1731), "kg", confirmed;
        MILLI_G_PER_DL = (4, 2130), "mg/dL", confirmed;
        MILLI_SEC = (4, 2194), "ms", confirmed;
        BEAT_PER_MIN = (4, 2720), "/min", confirmed;
        RESP_PER_MIN = (4, 2784), "/min", confirmed;
        MILLI_L_PER_HR = (4, 3122), "mL/h", confirmed;
        MMHG = (4, 3872), "mm[Hg]", confirmed;
        MILLI_VOLT = (4, 4274), "mV", confirmed;
        INTL_UNIT = (4, 5472), "[iU]", confirmed;
        INTL_UNIT_PER_HR = (4, 5696), "[iU]/h", confirmed;
        DEGC = (4, 6048), "Cel", confirmed;
        M_PER_SEC_SQ = (4, 6624), "m/s2", one "Mdc.java";
        STEP = (4, 6656), "{steps}", confirmed;
    }
}
