"""Files under /sys as three boards show them, laid out in a folder. Values are made up."""

import os


def sample(name):
    """Text that a board printed: see samples/README.md."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples", name)) as file:
        return file.read()


def write(root, path, text):
    path = os.path.join(str(root), path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def nano(root, minimum=921600000, now=921600000, mode=0, millivolt=5040):
    """JetPack 4: power as IIO in mW, GPU at 57000000."""
    rails = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"
    for number, (name, power) in enumerate([("POM_5V_IN", 4200), ("POM_5V_GPU", 1300), ("POM_5V_CPU", 800)]):
        write(root, rails + "rail_name_%d" % number, name + "\n")
        write(root, rails + "in_power%d_input" % number, "%d\n" % power)
        write(root, rails + "in_voltage%d_input" % number, "%d\n" % millivolt)
    write(root, "etc/nvpmodel.conf", sample("nvpmodel_nano.conf"))
    write(root, "var/lib/nvpmodel/status", "pmode:%04d fmode:quiet\n" % mode)
    for number, (name, degrees) in enumerate(
        [("AO-therm", 41500), ("CPU-therm", 36000), ("GPU-therm", 35500), ("PMIC-Die", 100000)]
    ):
        zone = "sys/class/thermal/thermal_zone%d/" % number
        write(root, zone + "type", name + "\n")
        write(root, zone + "temp", "%d\n" % degrees)
    devfreq(root, "57000000.gpu", minimum, 921600000, now)
    for core in range(4):
        cpufreq(root, core, 1479000, 1479000, 1479000)


def orin_nano(root, events=0):
    """JetPack 5 and 6: power as hwmon in mV and mA, over-current counters, a sensor without power."""
    chip = "sys/class/hwmon/hwmon1/"
    write(root, chip + "name", "ina3221\n")
    for number, (name, millivolt, milliampere) in enumerate(
        [("VDD_IN", 4968, 1520), ("VDD_CPU_GPU_CV", 4960, 1784), ("NC", 0, 0)], start=1
    ):
        write(root, chip + "in%d_label" % number, name + "\n")
        write(root, chip + "in%d_input" % number, "%d\n" % millivolt)
        write(root, chip + "curr%d_input" % number, "%d\n" % milliampere)
    write(root, chip + "in7_label", "sum of shunt voltages\n")
    write(root, chip + "in7_input", "12\n")
    write(root, "sys/class/hwmon/hwmon3/name", "soctherm_oc\n")
    write(root, "sys/class/hwmon/hwmon3/oc3_event_cnt", "%d\n" % events)
    for number, (name, text) in enumerate([("cpu-thermal", "50468\n"), ("tj-thermal", "51000\n"), ("cv0-thermal", "")]):
        zone = "sys/class/thermal/thermal_zone%d/" % number
        write(root, zone + "type", name + "\n")
        write(root, zone + "temp", text)
    devfreq(root, "17000000.gpu", 306000000, 624750000, 306000000)
    cpufreq(root, 0, 729600, 1510400, 883200)


def devfreq(root, name, low, high, now):
    for word, value in (("min", low), ("max", high), ("cur", now)):
        write(root, "sys/class/devfreq/%s/%s_freq" % (name, word), "%d\n" % value)


def cpufreq(root, core, low, high, now):
    for word, value in (("min", low), ("max", high), ("cur", now)):
        path = "sys/devices/system/cpu/cpu%d/cpufreq/scaling_%s_freq" % (core, word)
        write(root, path, "%d\n" % value)


def memory(root, total_mib, available_mib, swap=""):
    """`swap`: lines of /proc/swaps below its head."""
    lines = (("MemTotal", total_mib), ("MemAvailable", available_mib), ("SwapTotal", 0), ("SwapFree", 0))
    write(root, "proc/meminfo", "".join("%s:%16d kB\n" % (name, mib * 1024) for name, mib in lines))
    write(root, "proc/swaps", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n" + swap)
