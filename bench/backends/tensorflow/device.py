"""What the process is told before and after TensorFlow is imported: threads, caches, memory, strict arithmetic."""

import os
from typing import Any

from bench.errors import NoGpu
from bench.program import Facts, Settings


def before_import(settings: Settings) -> None:
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # take memory as it is used, so that a peak means something
    os.environ.pop("TF_GPU_ALLOCATOR", None)  # others than its own may know no peak
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # greetings stay out of the log, warnings and errors stay in
    # `import tensorflow` would import Keras 3 and with it whatever engine it finds; this backend uses none of it.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    if settings.cache:
        folder = os.path.join(settings.cache, "xla")
        os.makedirs(folder, exist_ok=True)
        # XLA through TensorFlow keeps compiled code only for GPUs; on a CPU the flag is read and nothing is stored.
        os.environ["TF_XLA_FLAGS"] = f"--tf_xla_persistent_cache_directory={folder}"


def after_import(settings: Settings) -> Facts:
    import tensorflow as tf

    # TensorFlow sizes its pools from the host and does not read OMP_NUM_THREADS for them. It flushes denormals in
    # its own threads and offers no switch.
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    tf.config.experimental.enable_tensor_float_32_execution(settings.precision == "tf32")  # its default is True
    tf.config.set_soft_device_placement(False)  # an operation that the device lacks is an error, not a detour
    device_name = "cpu"
    if settings.device == "gpu":
        found = tf.config.list_physical_devices("GPU")
        if not found:
            raise NoGpu(f"tensorflow {tf.__version__}", "tensorflow-cpu")
        gpu = found[0]
        tf.config.experimental.set_memory_growth(gpu, True)
        device_name = tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
    return Facts(threads=tf.config.threading.get_intra_op_parallelism_threads(), device_name=device_name)


def fence(tensors: Any = None) -> None:
    """Waits for every device: a `.numpy()` on the loss would wait for that tensor alone."""
    import tensorflow as tf

    tf.test.experimental.sync_devices()


def kind(tensor: Any) -> str:
    """NumPy's name of the dtype, and `cpu` or `gpu`."""
    import tensorflow as tf

    return f"{tensor.dtype.name} {tf.DeviceSpec.from_string(tensor.device).device_type.lower()}"


def peak_bytes(settings: Settings) -> int | None:
    import tensorflow as tf

    return None if settings.device == "cpu" else int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def reset_peak(settings: Settings) -> None:
    import tensorflow as tf

    if settings.device == "gpu":
        tf.config.experimental.reset_memory_stats("GPU:0")
