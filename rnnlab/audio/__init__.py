"""Features of sound in NumPy, computed as a whole or as it arrives: one code path for both."""

from rnnlab.audio.differences import Differences as Differences
from rnnlab.audio.front_end import FrontEnd as FrontEnd
from rnnlab.audio.mean_normalization import RunningMeanNormalization as RunningMeanNormalization
from rnnlab.audio.mean_normalization import subtract_mean as subtract_mean
from rnnlab.audio.stacking import FrameStacking as FrameStacking
from rnnlab.audio.streams import Chain as Chain
from rnnlab.audio.streams import Stream as Stream
from rnnlab.audio.streams import Transform as Transform
