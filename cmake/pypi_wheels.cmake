# Included by setup.py (-DCMAKE_PROJECT_INCLUDE=...) when ROS 2 comes from the ros-* wheels of PyPI; colcon does not
# read it. Runs once all targets exist.
function(_adapt_to_pypi_wheels)
  # The wheels' Python typesupport targets export the include directories of the container they were built in, and CMake
  # refuses targets with directories that do not exist.
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  list(FILTER targets INCLUDE REGEX "__rosidl_generator_py$")
  foreach(target IN LISTS targets)
    get_target_property(directories ${target} INTERFACE_INCLUDE_DIRECTORIES)
    set(existing "")
    foreach(directory IN LISTS directories)
      if(EXISTS "${directory}")
        list(APPEND existing "${directory}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${existing}")
  endforeach()

  # Ours would export numpy's headers, which CMake refuses if the virtual environment lies in the source tree.
  set_target_properties(${PROJECT_NAME}__rosidl_generator_py PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "")
endfunction()

cmake_language(DEFER CALL _adapt_to_pypi_wheels)
